//! The three system calls that the standard library has no safe form of.

use std::io;

use tokio::process::{Child, Command};

/// Makes the child die with the **thread** that starts it, so that no database outlives a killed Souk. The kernel
/// looks at the thread and not at the process: start the child from a thread that lives as long as it should.
pub(crate) fn die_with_this_thread(command: &mut Command) {
    let parent = std::process::id();
    let hook = move || {
        // SAFETY: both calls only read or set attributes of the calling process; neither touches memory.
        #[expect(
            unsafe_code,
            reason = "PR_SET_PDEATHSIG has no safe form, and nothing else ties a child to a killed parent"
        )]
        let (set, now) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::getppid()) };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have gone before the signal was asked for.
        if u32::try_from(now).ok() != Some(parent) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    // SAFETY: the hook runs between fork and exec, where only async-signal-safe calls are allowed: `prctl` and
    // `getppid` are, and the hook neither allocates nor locks.
    #[expect(unsafe_code, reason = "the one place that must run between fork and exec")]
    unsafe {
        command.pre_exec(hook);
    }
}

/// Asks the process to end, as `kill` does.
pub(crate) fn terminate(child: &Child) {
    // `id` is `None` once the child has been waited for, so the number cannot belong to another process yet.
    let Some(pid) = child.id().and_then(|pid| libc::pid_t::try_from(pid).ok()) else { return };
    // SAFETY: `kill` touches no memory.
    #[expect(unsafe_code, reason = "the standard library can only kill a child, not ask it to shut down")]
    unsafe {
        libc::kill(pid, libc::SIGTERM);
    }
}

/// Kills the process of a child that has not been waited for.
pub(crate) fn kill(pid: u32) {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return };
    // SAFETY: `kill` touches no memory.
    #[expect(unsafe_code, reason = "the child belongs to a supervisor that is not to know of it")]
    unsafe {
        libc::kill(pid, libc::SIGKILL);
    }
}
