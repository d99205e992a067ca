"""Where a read goes: the rules, and the steps that they ask for."""
