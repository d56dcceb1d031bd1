//! Memory for large tables.

use std::ffi::c_void;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

/// Less than this is not worth a call.
const WORTHWHILE: usize = 64 << 10;

/// Less than this gets no huge pages: they begin at multiples of 2 MiB on most machines.
const HUGE: usize = 4 << 20;

/// Pages begin at multiples of this on every machine that the program runs on, or of more.
const PAGE: usize = 4096;

/// So many zeros. A table is written and read from end to end, and most of what that costs would be
/// page faults: so a small one is all there at once, and a large one comes in huge pages where the
/// kernel likes, one after another, as it lets go of what it is made of.
pub fn zeros(length: usize) -> Vec<u8> {
    let mut buffer = vec![0; length];
    if length >= HUGE {
        advise(&mut buffer, MmapAdvise::MADV_HUGEPAGE);
    } else if length >= WORTHWHILE {
        // Since Linux 5.14.
        advise(&mut buffer, MmapAdvise::MADV_POPULATE_WRITE);
    }
    buffer
}

/// Advice on the buffer's whole pages. Where the kernel does not take it, it is only slower.
fn advise(buffer: &mut [u8], advice: MmapAdvise) {
    let start = buffer.as_mut_ptr().cast::<c_void>();
    let skip = start.align_offset(PAGE);
    let pages = buffer.len().saturating_sub(skip) / PAGE * PAGE;
    if let Some(start) = NonNull::new(start.wrapping_byte_add(skip)) {
        // SAFETY: the range lies within the buffer, and none of the advice given here changes
        // anything that can be seen of it.
        let _ = unsafe { madvise(start, pages, advice) };
    }
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
