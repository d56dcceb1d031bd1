//! What is found in the text of the functions of real kernels, and in anything else.

use std::{collections::BTreeMap, fmt::Write as _};

use proptest::prelude::*;

use super::{
    any_bytes, calibrate, cleanup,
    listing::{Code, Listing},
    text::Layout,
    wait, window,
    window::Unfit,
};

const KERNELS: [(&str, &str); 4] = [
    ("5.10", include_str!("../../../tests/text/5.10.txt")),
    ("6.1", include_str!("../../../tests/text/6.1.txt")),
    ("6.12", include_str!("../../../tests/text/6.12.txt")),
    ("7.2", include_str!("../../../tests/text/7.2.txt")),
];

/// The text of one kernel, as the example `text` writes it.
struct Kernel {
    symbols: Vec<(u64, String)>,
    functions: BTreeMap<String, Code>,
}

impl Kernel {
    fn read(text: &str) -> Self {
        let number =
            |word: &str| u64::from_str_radix(word.strip_prefix("0x").unwrap(), 16).unwrap();
        let mut kernel = Self {
            symbols: Vec::new(),
            functions: BTreeMap::new(),
        };
        let mut code: Option<&mut Code> = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["text", address, name, module] => {
                    let entry = kernel.functions.entry(format!("{module}{name}"));
                    code = Some(entry.or_insert(Code {
                        address: number(address),
                        bytes: Vec::new(),
                    }));
                }
                [digits] => {
                    let bytes = digits.as_bytes().chunks(2);
                    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
                    let code = code.as_mut().unwrap();
                    code.bytes.extend(bytes.map(|pair| byte(pair).unwrap()));
                }
                [address, name, ..] => kernel.symbols.push((number(address), name.to_owned())),
                [] => {}
            }
        }
        kernel
    }

    fn address(&self, name: &str) -> Option<u64> {
        let mut symbols = self.symbols.iter();
        symbols
            .find(|(_, other)| other == name)
            .map(|(address, _)| *address)
    }

    fn preempt_count(&self) -> u64 {
        self.address("__preempt_count")
            .or_else(|| Some(self.address("pcpu_hot")? + 8))
            .unwrap()
    }

    fn listing(&self, code: &Code) -> Listing {
        let is_function = |address| self.symbols.iter().any(|(other, _)| *other == address);
        Listing::of(std::slice::from_ref(code), &is_function)
    }

    fn window(&self, code: &Code) -> Result<window::Window, Unfit> {
        let enable = self.address("__local_bh_enable_ip").unwrap();
        window::find(
            &self.listing(code),
            Some(self.preempt_count()),
            &(enable..=enable),
        )
    }
}

/// Everything that is found in each function, as offsets.
fn findings(kernel: &Kernel) -> String {
    let mut text = String::new();
    for (name, code) in &kernel.functions {
        let listing = kernel.listing(code);
        assert!(
            name.contains(".cold") || listing.altered.is_none(),
            "{name}"
        );
        writeln!(text, "{name}").unwrap();
        let offset = |address: u64| format!("+{:#x}", address - code.address);
        let offsets = |all: &[u64]| all.iter().map(|a| offset(*a)).collect::<Vec<_>>().join(" ");
        match kernel.window(code) {
            Ok(window) => {
                let (on, back) = (offsets(&window.on), offsets(&window.back));
                let repeats = if window.back_repeats {
                    " (repeats)"
                } else {
                    ""
                };
                writeln!(
                    text,
                    "  off {}, on {on}, back {back}{repeats}",
                    offset(window.off)
                )
                .unwrap();
                if let Some(wait) = wait::find(&listing, &window) {
                    let (address, register) = (offset(wait.address), wait.register);
                    writeln!(text, "  wait {address}, CPU at byte {register}").unwrap();
                }
            }
            Err(unfit) => writeln!(text, "  {unfit}").unwrap(),
        }
        let named = kernel.symbols.iter();
        for (address, _) in named.filter(|(_, name)| name == "cleanup_entry") {
            let found = cleanup::find(&listing, *address);
            if !found.is_empty() {
                writeln!(text, "  cleanup {}", offsets(&found)).unwrap();
            }
        }
        if let Some(found) = calibrate::find(&listing) {
            let all = [found.off, found.on, found.back];
            writeln!(text, "  calibration {}", offsets(&all)).unwrap();
        }
    }
    text
}

#[test]
fn every_kernel_shows_its_sites() {
    for (name, text) in KERNELS {
        insta::assert_snapshot!(format!("kernel-{name}"), findings(&Kernel::read(text)));
    }
}

#[test]
fn the_preempt_count_must_be_the_one() {
    for (_, text) in KERNELS {
        let kernel = Kernel::read(text);
        let (name, code) = kernel.functions.iter().next().unwrap();
        let enable = kernel.address("__local_bh_enable_ip").unwrap();
        let elsewhere = Some(kernel.preempt_count() + 4);
        let found = window::find(&kernel.listing(code), elsewhere, &(enable..=enable));
        assert_eq!(found, Err(Unfit::Starts(0)), "{name}");
    }
}

/// The functions that have a window.
fn with_window() -> impl Iterator<Item = (Kernel, Code, window::Window)> {
    KERNELS.iter().flat_map(|(_, text)| {
        let codes: Vec<_> = Kernel::read(text).functions.into_values().collect();
        codes.into_iter().filter_map(|code| {
            let kernel = Kernel::read(text);
            let window = kernel.window(&code).ok()?;
            Some((kernel, code, window))
        })
    })
}

#[test]
fn a_way_out_with_bottom_halves_off_is_seen() {
    let mut tried = 0;
    for (kernel, code, window) in with_window() {
        for call in &window.on {
            let mut broken = code.clone();
            let at = usize::try_from(call - code.address).unwrap();
            // The function's end in place of the call.
            broken.bytes[at..at + 5].copy_from_slice(&[0xc3, 0x90, 0x90, 0x90, 0x90]);
            let found = kernel.window(&broken);
            assert!(
                matches!(found, Err(Unfit::Open(_) | Unfit::NoEnd)),
                "{found:?}"
            );
            tried += 1;
        }
    }
    assert!(tried >= 16, "{tried}");
}

#[test]
fn anothers_probes_hide_nothing_that_matters() {
    for (kernel, code, window) in with_window() {
        // What the kernel puts there: a breakpoint, or a jump out of the kernel's text.
        for probed in [window.off, window.on[0], window.back[0]] {
            let at = usize::try_from(probed - code.address).unwrap();
            let mut altered = code.clone();
            altered.bytes[at] = 0xcc;
            let found = kernel.window(&altered).unwrap();
            assert_eq!((found.off, &found.on), (window.off, &window.on));
            if probed != window.on[0] {
                let jump = [0xe9, 0x78, 0x56, 0x34, 0x12];
                altered.bytes[at..at + 5].copy_from_slice(&jump);
                let found = kernel.window(&altered).unwrap();
                assert_eq!((found.off, &found.on), (window.off, &window.on));
            }
        }
    }
}

#[test]
fn a_core_file_tells_where_addresses_are() {
    let mut head = vec![0_u8; 64 + 2 * 56];
    head[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    head[16..20].copy_from_slice(&[4, 0, 62, 0]);
    head[20..24].copy_from_slice(&1_u32.to_le_bytes());
    head[32..40].copy_from_slice(&64_u64.to_le_bytes());
    head[52..58].copy_from_slice(&[64, 0, 56, 0, 2, 0]);
    let segment = &mut head[64 + 56..];
    segment[..4].copy_from_slice(&1_u32.to_le_bytes());
    segment[8..16].copy_from_slice(&0x3000_u64.to_le_bytes());
    segment[16..24].copy_from_slice(&0xffff_ffff_c000_0000_u64.to_le_bytes());
    segment[32..40].copy_from_slice(&0x1000_u64.to_le_bytes());
    let layout = Layout::parse(&head).unwrap();
    let at = |from: u64, to: u64| layout.offset_of(&(from..to));
    assert_eq!(
        at(0xffff_ffff_c000_0010, 0xffff_ffff_c000_0020),
        Some(0x3010)
    );
    assert_eq!(at(0xffff_ffff_c000_0ff0, 0xffff_ffff_c000_1001), None);
    assert_eq!(at(0xffff_ffff_bfff_ffff, 0xffff_ffff_c000_0001), None);
    assert_eq!(at(8, 7), None);
    for end in 0..head.len() {
        let _ = Layout::parse(&head[..end]);
    }
}

/// Found by fuzzing.
#[test]
fn a_jump_on_after_a_call_is_no_loop() {
    // call 0x1020; jne 0x1009
    let code = [0xe8, 0x1b, 0, 0, 0, 0x75, 2, 0x90, 0x90, 0xc3];
    any_bytes(0x1000, &code);
}

proptest! {
    #[test]
    fn no_bytes_panic(address: u64, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        any_bytes(address, &bytes);
    }

    #[test]
    fn no_change_of_real_text_panics(
        which: prop::sample::Index,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (_, text) = KERNELS[which.index(KERNELS.len())];
        let kernel = Kernel::read(text);
        let codes: Vec<_> = kernel.functions.values().collect();
        let mut code = codes[which.index(codes.len())].clone();
        for (place, byte) in changes {
            let length = code.bytes.len();
            code.bytes[place.index(length)] = byte;
        }
        let _ = kernel.window(&code);
        any_bytes(code.address, &code.bytes);
    }
}
