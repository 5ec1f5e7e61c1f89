"""Service orders: appointments that keep their distance from each other."""
