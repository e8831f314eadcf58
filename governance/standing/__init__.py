"""How each requirement stands: what a statement is bound to, what an audit shows, how one is judged."""
