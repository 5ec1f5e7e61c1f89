"""Invoices: paying one credits the user who issued it."""
