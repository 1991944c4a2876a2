"""The same backward pass again, under conditions that show what one run hides."""
