"""Models held by workers. Imports neither ray nor pipelines."""
