"""How the files of a model come in: names, archives, MLflow runs, uploads, and what is checked. Django-free."""
