"""From values and gradients to the rows of a report: verdict, cause and message together."""
