//! Network drivers, firewall, ports and address management.
