"""Running what the user wrote: inputs, calls, sizes, layouts, upstream gradients, and who writes into what."""
