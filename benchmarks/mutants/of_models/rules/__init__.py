"""One table a rule: a line of its `backward_steps` on the left, what it is made to say on the right."""
