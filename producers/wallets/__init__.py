"""Wallets: money that customers left with us; kept in the payments database."""
