//! Memory for large tables.

use std::ffi::c_void;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

/// Less than this is not worth a call.
const WORTHWHILE: usize = 4 << 20;

/// Pages begin at multiples of this on every machine that the program runs on, or of more.
const PAGE: usize = 4096;

/// So many zeros, in huge pages where the kernel likes: a table is written and read from end to
/// end, and most of what that costs would be page faults. The memory is not touched yet.
pub fn zeros(length: usize) -> Vec<u8> {
    let mut buffer = vec![0; length];
    if length >= WORTHWHILE {
        let start = buffer.as_mut_ptr().cast::<c_void>();
        let skip = start.align_offset(PAGE);
        let pages = (length - skip) / PAGE * PAGE;
        if let Some(start) = NonNull::new(start.wrapping_byte_add(skip)) {
            // Without huge pages it is only slower.
            // SAFETY: the range lies within the buffer's own allocation, and this advice changes
            // nothing that can be seen of it.
            let _ = unsafe { madvise(start, pages, MmapAdvise::MADV_HUGEPAGE) };
        }
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::zeros;

    #[test]
    fn a_buffer_of_any_size_is_zero() {
        for length in [0, 1, 4096, (4 << 20) + 1, 9_999_999] {
            let buffer = zeros(length);
            assert!(buffer.len() == length && buffer.iter().all(|byte| *byte == 0));
        }
    }
}
