"""The benefits shop: each user buys each product once, from their balance."""
