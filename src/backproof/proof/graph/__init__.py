"""What autograd recorded: nodes, named values and their readers, backward passes through parts of it."""
