//! OCI bundle to process: namespaces, cgroups, seccomp.
