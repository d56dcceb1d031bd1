//! The part of a rule that chooses packets by address, interface and protocol.

use super::super::address;
use super::super::numbers;
use super::Draft;
use super::reader::text;
use crate::kernel::Family;
use crate::kernel::abi::{FRAGMENT_FLAG, INTERFACE};

impl Draft<'_> {
    pub(super) fn protocol(&mut self, value: &[u8], invert: bool) -> Result<(), String> {
        let word = text("-p", value)?;
        let protocol = numbers::parse_protocol(word)?;
        if protocol == 0 && invert {
            return Err("\"! -p all\" would match nothing".to_owned());
        }
        let layout = self.family.layout();
        self.entry[layout.proto] = protocol;
        // For "all" too, as iptables does it.
        self.entry[layout.flags] |= layout.proto_flag;
        self.protocol_word.clear();
        self.protocol_word.extend_from_slice(value);
        Ok(())
    }

    pub(super) fn interface(&mut self, value: &[u8], incoming: bool) -> Result<(), String> {
        if value.is_empty() {
            return Err("an interface needs a name".to_owned());
        }
        let layout = self.family.layout();
        let (name_at, mask_at) = if incoming {
            (layout.iniface, layout.iniface_mask)
        } else {
            (layout.outiface, layout.outiface_mask)
        };
        let (name, mask) = address::parse_interface(value)?;
        self.entry[name_at..name_at + INTERFACE].copy_from_slice(&name);
        self.entry[mask_at..mask_at + INTERFACE].copy_from_slice(&mask);
        Ok(())
    }

    pub(super) fn fragment(&mut self) -> Result<(), String> {
        if self.family == Family::Ipv6 {
            return Err("-f is for IPv4; use -m frag".to_owned());
        }
        self.entry[self.family.layout().flags] |= FRAGMENT_FLAG;
        Ok(())
    }
}
