//! Containers from the kernel's own parts: namespaces, overlay, cgroups.
