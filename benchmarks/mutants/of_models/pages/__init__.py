"""The walk through a table of links, and tables of links that the way back reads wrongly."""
