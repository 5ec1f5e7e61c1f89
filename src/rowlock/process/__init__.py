"""How a process starts, serves and stops, alone or as one of several workers."""
