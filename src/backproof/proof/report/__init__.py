"""What is said of a gradient: rows, the causes that they name, and the same report as text, page and JSON."""
