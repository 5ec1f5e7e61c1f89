"""What runs in the background, supervised."""
