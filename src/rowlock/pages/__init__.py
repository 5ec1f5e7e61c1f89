"""Pages for people: what the console and the shop share.

A page is HTML that a template makes on the server. It works without JavaScript; where there is
some, htmx renews its live parts. Nothing is loaded from elsewhere, and the content policy forbids
inline styles and scripts.

`declaring` makes a method a page, `sites` guards and serves it, `frames` shows it. `lists` reads
the filters of a list, `forms` does what a form asks for, once. `sessions` knows who is signed in.
"""
