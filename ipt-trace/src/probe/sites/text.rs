//! The running kernel's text, through `/proc/kcore`.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _};

use object::{
    Endianness,
    elf::{self, FileHeader64},
    read::elf::{FileHeader as _, ProgramHeader as _},
};

/// The kernel's memory as an ELF core file.
const KCORE: &str = "/proc/kcore";

/// The file's program headers are well within this.
const HEAD_BYTES: usize = 1 << 16;

/// Of a function no more is read than this: the ones in question have at most two thousand bytes,
/// but the last one of a module seems to reach to the next.
const MAX_BYTES: u64 = 1 << 13;

/// Why text cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The file cannot be opened or read.
    #[error(
        "the kernel's text cannot be read from {KCORE} ({0}); it takes CAP_SYS_RAWIO, \
         CONFIG_PROC_KCORE and no lockdown"
    )]
    Unreadable(#[from] io::Error),
    /// It is not a core file.
    #[error("{KCORE} is no ELF core file ({0})")]
    Format(String),
    /// No segment holds the address.
    #[error("{KCORE} does not hold {0:#x}")]
    Elsewhere(u64),
    /// A range without bytes.
    #[error("a function of no bytes")]
    Empty,
}

/// Which part of the kernel's memory is where in the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout(Vec<Segment>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    address: u64,
    size: u64,
    offset: u64,
}

impl Layout {
    /// Reads the program headers at the beginning of the file.
    pub fn parse(head: &[u8]) -> Result<Self, TextError> {
        let format = |error: object::Error| TextError::Format(error.to_string());
        let header = FileHeader64::<Endianness>::parse(head).map_err(format)?;
        let endian = header.endian().map_err(format)?;
        let headers = header.program_headers(endian, head).map_err(format)?;
        let segments = headers
            .iter()
            .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
            .map(|segment| Segment {
                address: segment.p_vaddr(endian),
                size: segment.p_filesz(endian),
                offset: segment.p_offset(endian),
            });
        Ok(Self(segments.collect()))
    }

    /// Where in the file these addresses are, if one segment holds them all.
    pub fn offset_of(&self, range: &Range<u64>) -> Option<u64> {
        let length = range.end.checked_sub(range.start)?;
        self.0.iter().find_map(|segment| {
            let into = range.start.checked_sub(segment.address)?;
            let left = segment.size.checked_sub(into)?;
            (length <= left).then(|| segment.offset.checked_add(into))?
        })
    }
}

/// The running kernel's text.
#[derive(Debug)]
pub struct KernelText {
    file: File,
    layout: Layout,
}

impl KernelText {
    /// Opens it.
    pub fn open() -> Result<Self, TextError> {
        let file = File::open(KCORE)?;
        let mut head = vec![0; HEAD_BYTES];
        let mut filled = 0;
        while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let read = file.read_at(rest, filled as u64)?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        head.truncate(filled);
        let layout = Layout::parse(&head)?;
        Ok(Self { file, layout })
    }

    /// Reads the bytes of a function that lies at these addresses, or its beginning.
    pub fn read(&self, range: &Range<u64>) -> Result<Vec<u8>, TextError> {
        let length = range.end.saturating_sub(range.start).min(MAX_BYTES);
        let size = usize::try_from(length)
            .ok()
            .filter(|size| *size > 0)
            .ok_or(TextError::Empty)?;
        let offset = self
            .layout
            .offset_of(&(range.start..range.start + length))
            .ok_or(TextError::Elsewhere(range.start))?;
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}
