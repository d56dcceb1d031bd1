//! A global word that all CPUs share. The library's atomics do not compile for this target.

use core::{arch::asm, cell::UnsafeCell};

/// A 64-bit word in memory that every CPU sees.
#[repr(transparent)]
pub struct Word(UnsafeCell<u64>);

// SAFETY: it is only read and written whole, by single instructions.
unsafe impl Sync for Word {}

impl Word {
    pub const fn new(value: u64) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Reads it.
    #[inline(always)]
    pub fn load(&self) -> u64 {
        // SAFETY: the pointer is to a live, aligned word.
        unsafe { self.0.get().read_volatile() }
    }

    /// Adds atomically. (An addition that returns the old value takes an instruction that kernels
    /// have from 5.12 on only.)
    #[inline(always)]
    pub fn add(&self, change: i64) {
        // SAFETY: the instruction adds to the live, aligned word at this address.
        unsafe {
            asm!(
                "lock *(u64 *)({word} + 0) += {change}",
                word = in(reg) self.0.get(),
                change = in(reg) change,
            );
        }
    }
}
