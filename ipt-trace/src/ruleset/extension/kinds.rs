//! The kinds of values that an option may have, and the functions that a description may hold.

use super::description::{Bits, Int};
use crate::kernel::Family;

/// What an option's words mean, and where they go in the struct. Numbers are in the machine's
/// byte order.
#[derive(Debug)]
pub enum Value {
    /// No words.
    Nothing,
    /// No words; writes these bytes at these offsets.
    Fixed(&'static [(usize, &'static [u8])]),
    /// A number from `min` to `max`.
    Number {
        /// Where it goes.
        field: Int,
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
    /// A number, or `first:last` with either left out.
    Range {
        /// Where the first goes.
        first: Int,
        /// Where the last goes; as wide as the first.
        last: Int,
    },
    /// One of some names.
    Choice {
        /// Where its number goes.
        field: Int,
        /// Names and numbers; the first name of a number is printed.
        names: &'static [(&'static str, u64)],
    },
    /// A MAC address: six bytes.
    Mac {
        /// Offset.
        at: usize,
    },
    /// An IPv4 address, perhaps with a mask: two `union nf_inet_addr`. Printed without a /32.
    Ipv4 {
        /// Offset of the address.
        at: usize,
        /// Offset of the mask.
        mask_at: usize,
    },
    /// An IPv6 address, perhaps with a mask: two `union nf_inet_addr`. Printed without a /128.
    Ipv6 {
        /// Offset of the address.
        at: usize,
        /// Offset of the mask.
        mask_at: usize,
    },
    /// A port, or `first:last`, by number or service name: two u16.
    Ports {
        /// Offset of the first.
        at: usize,
        /// Offset of the last.
        last_at: usize,
    },
    /// The same, but a number is decimal even with a zero before it.
    DecimalPorts {
        /// Offset of the first.
        at: usize,
        /// Offset of the last.
        last_at: usize,
    },
    /// `value[/mask]`, printed in hexadecimal: two u32; no mask is all ones.
    Mark {
        /// Offset of the value.
        at: usize,
        /// Offset of the mask.
        mask_at: usize,
    },
    /// Names separated by commas, each a bit of a u8 or u16; any prefix of a name will do, in any
    /// case, as for iptables.
    Set {
        /// The field.
        field: Bits,
        /// Names and bits, in the order in which they are printed.
        names: &'static [(&'static str, u32)],
    },
    /// Text, zero-terminated; what does not fit is cut off, as iptables does.
    Text {
        /// Offset.
        at: usize,
        /// Bytes of the field, the closing zero included.
        len: usize,
        /// The least that must be written.
        min: usize,
    },
    /// Text as in [`Value::Text`], printed as it is where it can be read back so.
    Bare {
        /// Offset.
        at: usize,
        /// Bytes of the field, the closing zero included.
        len: usize,
        /// The least that must be written.
        min: usize,
    },
    /// A number from 0 to `max`, printed in hexadecimal.
    Hex {
        /// Where it goes.
        field: Int,
        /// Greatest value.
        max: u64,
        /// How many digits are printed at least.
        digits: usize,
    },
    /// A word of any bytes.
    Bytes {
        /// The bytes that it writes, as offset and length.
        span: (usize, usize),
        /// Reads the word into the struct.
        parse: fn(word: &[u8], data: &mut [u8]) -> Result<(), String>,
        /// Writes ` word`.
        print: Print,
    },
    /// A word, or none where the next one is an option: its parser gets what there is.
    Optional {
        /// The bytes that it writes, as offset and length.
        span: (usize, usize),
        /// Reads the word into the struct.
        parse: Parse,
    },
    /// Anything else.
    Custom {
        /// How many words it takes.
        words: usize,
        /// The bytes that it writes, as offset and length.
        span: (usize, usize),
        /// Reads the words into the struct.
        parse: Parse,
        /// Writes ` word` for each.
        print: Print,
    },
}

/// Reads an option's words into the struct, or says what is wrong with them.
pub type Parse = fn(words: &[&str], context: Context, data: &mut [u8]) -> Result<(), String>;

/// Writes ` word` for each word of an option.
pub type Print = fn(data: &[u8], out: &mut Vec<u8>);

/// Looks at a struct of the kernel's before it is printed.
pub type Check = fn(data: &[u8]) -> Result<(), String>;

/// Looks at the struct when all options are there; bit N of `given` says whether option N was.
pub type Finish = fn(given: u64, context: Context, data: &mut [u8]) -> Result<(), String>;

/// What an option may need to know of the rule that it stands in, as read so far.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The protocol after `-p`, 0 for any.
    pub protocol: u8,
    /// Whether it is inverted.
    pub protocol_inverted: bool,
    /// The rule's family.
    pub family: Family,
    /// Whether `!` stands before the option that is being read.
    pub inverted: bool,
}
