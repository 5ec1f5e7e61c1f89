"""The shop: pages for employees, who spend their balance on benefits.

It is a part of commerce, below /shop. What is bought goes through the lane of the benefits API.
Events name its visitors `shop:ID`, by the id of the user, as events carry no names.
"""

PATH = "/shop"
