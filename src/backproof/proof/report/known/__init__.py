"""What is known of the causes: one file a cause, its words and its example together. `registry` lists them."""
