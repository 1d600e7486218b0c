"""The command `nightjar`.

cli.py, cli_*.py   parsing, exit codes
commands/          what each command does
cluster/           job server, code package, following a submitted run
console/           tables, live display, drawings
"""
