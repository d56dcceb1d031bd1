//! Memory for large tables.

use std::ffi::c_void;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

/// Less than this is not worth a call.
const WORTHWHILE: usize = 4 << 20;

/// Pages begin at multiples of this on every machine that the program runs on, or of more.
const PAGE: usize = 4096;

/// An empty buffer with this capacity, in huge pages where the kernel likes: a table is written and
/// read from end to end, and most of what that costs would be page faults.
pub fn large_buffer(capacity: usize) -> Vec<u8> {
    let mut buffer: Vec<u8> = Vec::with_capacity(capacity);
    if capacity >= WORTHWHILE {
        let start = buffer.as_mut_ptr().cast::<c_void>();
        let skip = start.align_offset(PAGE);
        let length = (capacity - skip) / PAGE * PAGE;
        if let Some(start) = NonNull::new(start.wrapping_byte_add(skip)) {
            // Without huge pages it is only slower.
            // SAFETY: the range lies within the buffer's own allocation, and this advice changes
            // nothing that can be seen of it.
            let _ = unsafe { madvise(start, length, MmapAdvise::MADV_HUGEPAGE) };
        }
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::large_buffer;

    #[test]
    fn a_buffer_of_any_size_is_empty_and_holds_that_much() {
        for capacity in [0, 1, 4096, (4 << 20) + 1, 9_999_999] {
            let buffer = large_buffer(capacity);
            assert!(buffer.is_empty() && buffer.capacity() >= capacity);
        }
    }
}
