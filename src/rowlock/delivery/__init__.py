"""How events leave the main database."""
