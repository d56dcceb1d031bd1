//! Single instructions of the running kernel that probes can sit on: where bottom halves go off
//! and come back on, and where the swap waits.
//!
//! `local_bh_disable` is inlined everywhere, so its place differs from build to build. It is found
//! in the kernel's text (`text`), decoded (`listing`), by what it must look like (`window`,
//! `wait`, `calibrate`), and checked before anything is attached there. What cannot be checked is
//! not probed. All of it but the reading is pure, and no bytes make it panic.

mod calibrate;
mod cleanup;
mod find;
mod listing;
#[cfg(test)]
mod tests;
mod text;
mod wait;
mod window;

pub use find::{Found, Sites};
pub use text::KernelText;

/// Decodes any bytes as a function and looks for every site in it: for the fuzzer.
#[doc(hidden)]
pub fn any_bytes(address: u64, bytes: &[u8]) {
    use listing::{Code, Listing};

    let _ = text::Layout::parse(bytes);
    let parts = [Code {
        address,
        bytes: bytes.to_vec(),
    }];
    let is_function = |address: u64| address.is_multiple_of(16);
    let listing = Listing::of(&parts, &is_function);
    let enable = address..=address.wrapping_add(0x40);
    if let Ok(window) = window::find(&listing, None, &enable) {
        let _ = wait::find(&listing, &window);
    }
    let _ = calibrate::find(&listing);
    let _ = cleanup::find(&listing, address.wrapping_add(0x20));
}
