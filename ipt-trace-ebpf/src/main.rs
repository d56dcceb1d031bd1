//! The probes of ipt-trace: they say when, which thread, which CPU and which place, and leave
//! every conclusion to the program.
//!
//! An *operation* is one sockopt call of iptables. It opens and closes in [`syscall`]; all other
//! probes first ask whether any is open, and all but the softirq ones whether this thread's is.
//!
//! What the tracepoint programs may do is limited by the strictest kernel they are for (lockdown
//! in confidentiality mode): they read their context and user memory, never kernel memory.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    clippy::inline_always,
    clippy::needless_pass_by_value,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a call costs a frame of the small stack; the macros hand contexts over by value; a \
              record's words hold numbers of every width and sign"
)]

mod arrival;
mod follow;
mod ipi;
mod lock;
mod lock_file;
mod netns;
mod operation;
mod softirq;
mod swap;
mod syscall;
mod window;
mod word;

/// The helpers that the probes call are for GPL-compatible programs only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program in which this can be reached.
    loop {}
}
