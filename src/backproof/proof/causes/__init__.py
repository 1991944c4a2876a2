"""Why is a gradient wrong? Hypotheses are fitted to it, and a poor fit is no finding."""
