"""The events service: stores what happened, once, in order, and tells whoever asks."""
