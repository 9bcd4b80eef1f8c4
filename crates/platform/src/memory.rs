//! How the allocator keeps what it gets back.

/// glibc gives up to eight heaps to each CPU, and keeps in each what its threads once needed at the same time. Layers are made on
/// as many threads as there are CPUs, so as many heaps do, and a build on two CPUs needs a tenth less memory. Has to be called
/// before there are other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn one_heap_a_cpu() {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let heaps = i32::try_from(cpus).unwrap_or(i32::MAX);
    // SAFETY: it only sets a number of the allocator, whose parameter is documented in mallopt(3).
    #[allow(unsafe_code)]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, heaps);
    }
}

/// Other C libraries have nothing to set.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn one_heap_a_cpu() {}
