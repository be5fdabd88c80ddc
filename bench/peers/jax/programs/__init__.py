"""JAX's side of the bench: each program is what a JAX user writes for the case (vmap, lax.scan, one jit)."""
