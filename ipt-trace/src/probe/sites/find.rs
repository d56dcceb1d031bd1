//! The sites of the running kernel: symbols and text brought together.

use std::{collections::HashMap, ops::RangeInclusive};

use super::{
    calibrate::{self, Calibration},
    cleanup,
    listing::{Code, Listing},
    text::{KernelText, TextError},
    wait::{self, Wait},
    window::{self, Unfit, Window},
};
use crate::probe::{
    symbols::{self, Symbol, Symbols},
    table::{Function, Spot},
};

/// An instruction as a kprobe names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `module:function`.
    pub target: String,
    /// Bytes from the function's first.
    pub offset: u64,
}

/// Looks instructions up in the running kernel, function by function.
pub struct Sites {
    text: Result<KernelText, TextError>,
    /// Where each function is that was looked at.
    addresses: HashMap<Key, Result<u64, String>>,
    /// What is at these addresses. It is read once: probes that are attached meanwhile would be
    /// seen in it.
    known: HashMap<u64, Result<Routine, String>>,
}

/// A function's module and names.
type Key = (Option<&'static str>, &'static [&'static str]);

/// A function and what was found in it.
struct Routine {
    /// Names and first addresses of its parts, the main one first.
    parts: Vec<(String, u64)>,
    window: Result<Window, Unfit>,
    wait: Option<Wait>,
    cleanups: Vec<u64>,
    calibration: Option<Calibration>,
}

impl Sites {
    /// Makes ready to look.
    pub fn new() -> Self {
        Self {
            text: KernelText::open(),
            addresses: HashMap::new(),
            known: HashMap::new(),
        }
    }

    /// The instructions of this kind in a function, or why there are none to be had.
    pub fn find(
        &mut self,
        symbols: &Symbols,
        spot: Spot,
        function: Function,
    ) -> Result<Vec<Found>, String> {
        let routine = self.routine(symbols, function)?;
        let window = || routine.window.as_ref().map_err(ToString::to_string);
        let calibration = || {
            routine
                .calibration
                .ok_or("no call at its beginning was recognized")
        };
        let addresses = match spot {
            Spot::BhOff => vec![window()?.off],
            Spot::BhOn => window()?.on.clone(),
            Spot::BhBack => window()?.back.clone(),
            Spot::DrainWait => {
                let wait = routine
                    .wait
                    .ok_or("its wait for a CPU was not recognized")?;
                vec![wait.address]
            }
            Spot::CleanupEnter if routine.cleanups.is_empty() => {
                return Err("no loop that calls cleanup_entry was recognized".to_owned());
            }
            Spot::CleanupEnter => routine.cleanups.clone(),
            Spot::CalibrateOff => vec![calibration()?.off],
            Spot::CalibrateOn => vec![calibration()?.on],
            Spot::CalibrateBack => vec![calibration()?.back],
        };
        let name = |address| {
            routine
                .name(address)
                .ok_or_else(|| format!("{address:#x} lies in none of its parts"))
        };
        addresses.into_iter().map(name).collect()
    }

    /// Where the CPU that is waited for is found in `struct pt_regs`, in the function that swaps.
    pub fn wait_register(&mut self, symbols: &Symbols, swap: Function) -> Option<u32> {
        Some(self.routine(symbols, swap).ok()?.wait?.register)
    }

    fn routine(&mut self, symbols: &Symbols, function: Function) -> Result<&Routine, String> {
        let text = self.text.as_ref().map_err(ToString::to_string)?;
        if cfg!(not(target_arch = "x86_64")) {
            return Err("only instructions of x86-64 are known".to_owned());
        }
        if symbols.are_hidden() {
            return Err(symbols::HIDDEN.to_owned());
        }
        let address = self
            .addresses
            .entry((function.module, function.names))
            .or_insert_with(|| Ok(symbol(symbols, function)?.address));
        let address = *address.as_ref().map_err(Clone::clone)?;
        self.known
            .entry(address)
            .or_insert_with(|| Routine::read(text, symbols, symbol(symbols, function)?))
            .as_ref()
            .map_err(Clone::clone)
    }
}

impl Routine {
    /// Reads and decodes a function.
    fn read(text: &KernelText, symbols: &Symbols, main: Symbol<'_>) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut codes = Vec::new();
        for part in [main].into_iter().chain(symbols.cold_parts(&main)) {
            let end = symbols
                .end_of(&part)
                .ok_or_else(|| format!("{} has no known end", part.name))?;
            let bytes = text
                .read(&(part.address..end))
                .map_err(|error| error.to_string())?;
            codes.push(Code {
                address: part.address,
                bytes,
            });
            let module = part.module.map(|module| format!("{module}:"));
            let target = format!("{}{}", module.unwrap_or_default(), part.name);
            parts.push((target, part.address));
        }
        let listing = Listing::of(&codes, &|address| symbols.is_function(address));
        let enable = enable(symbols).ok_or("the kernel has no function __local_bh_enable_ip")?;
        let window = window::find(&listing, symbols.preempt_count(), &enable);
        let wait = window.as_ref().ok();
        let cleanup = symbols.find(main.module, "cleanup_entry");
        Ok(Self {
            wait: wait.and_then(|window| wait::find(&listing, window)),
            window,
            cleanups: match cleanup[..] {
                [cleanup] => cleanup::find(&listing, cleanup.address),
                _ => Vec::new(),
            },
            calibration: calibrate::find(&listing),
            parts,
        })
    }

    /// How a kprobe names an address in it.
    fn name(&self, address: u64) -> Option<Found> {
        let before = self.parts.iter().filter(|(_, start)| *start <= address);
        let (target, start) = before.max_by_key(|(_, start)| *start)?;
        Some(Found {
            target: target.clone(),
            offset: address - start,
        })
    }
}

/// `__local_bh_enable_ip`, with the padding before it: some kernels have calls begin in there.
fn enable(symbols: &Symbols) -> Option<RangeInclusive<u64>> {
    let [function] = symbols.find(None, "__local_bh_enable_ip")[..] else {
        return None;
    };
    let padding = symbols.find(None, "__pfx___local_bh_enable_ip");
    let start = padding
        .first()
        .map_or(function.address, |padding| padding.address);
    Some(start.min(function.address)..=function.address)
}

/// The first of a function's names that the kernel has, once; what is usually a module may be
/// built in.
fn symbol(symbols: &Symbols, function: Function) -> Result<Symbol<'_>, String> {
    for module in [function.module, None] {
        for name in function.names {
            match symbols.find(module, name)[..] {
                [] => {}
                [symbol] => return Ok(symbol),
                [..] => return Err(format!("the kernel has several functions named {name}")),
            }
        }
    }
    Err(match function.module {
        Some(module) if !symbols.has_module(module) => {
            format!("the module {module} is not loaded")
        }
        _ => "this kernel has no such function, or inlined it".to_owned(),
    })
}
