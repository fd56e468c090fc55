//! What differs between systems, chosen here once.
//!
//! On Linux a process is watched by a pidfd, the page is a sealed memfd, descriptors are waited for by epoll, and a
//! copy of the image comes from `/proc`. Elsewhere, and with `--cfg sidestep_portable`, plain Unix has to do. The
//! portable parts also serve on Linux where a sandbox or an old kernel refuses the others.

#[cfg(all(target_os = "linux", not(sidestep_portable)))]
mod epoll;
#[cfg(all(target_os = "linux", not(sidestep_portable)))]
mod linux;
#[cfg(not(all(target_os = "linux", not(sidestep_portable))))]
mod poll;
mod portable;
#[cfg(all(target_os = "linux", not(sidestep_portable)))]
mod proc;

#[cfg(all(target_os = "linux", not(sidestep_portable)))]
pub(crate) use epoll::Poller;
#[cfg(all(target_os = "linux", not(sidestep_portable)))]
pub(super) use linux::{
    Watch, extend, forget, image, is_stopped, page_file, provide, read_only, shared_file,
};
#[cfg(not(all(target_os = "linux", not(sidestep_portable))))]
pub(crate) use poll::Poller;
#[cfg(not(all(target_os = "linux", not(sidestep_portable))))]
pub(crate) use portable::Gauge;
#[cfg(not(all(target_os = "linux", not(sidestep_portable))))]
pub(super) use portable::shared::{extend, forget, provide, read_only, shared_file};
#[cfg(not(all(target_os = "linux", not(sidestep_portable))))]
pub(super) use portable::{Watch, image, is_stopped, page_file};

#[cfg(all(target_os = "linux", not(sidestep_portable)))]
pub(crate) use proc::Gauge;

/// Makes the child the leader of its own session; 0 where `posix_spawn` cannot, and the child then does it itself.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) const SPAWN_SETSID: i32 = nix::libc::POSIX_SPAWN_SETSID as i32;
#[cfg(target_vendor = "apple")]
pub(super) const SPAWN_SETSID: i32 = 0x0400;
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(super) const SPAWN_SETSID: i32 = 0;
