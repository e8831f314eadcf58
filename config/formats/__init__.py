"""How Django writes numbers by language where a template names no filter."""
