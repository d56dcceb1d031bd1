//! `ipt-trace generate`: rulesets of a known shape and size, to try things out and to measure.

use std::io::{self, Write};

use crate::kernel::Family;
use crate::ruleset::{HOOK_NAMES, TABLES};

/// What the ruleset looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many rules in filter/FORWARD, each for one source address and port.
    Flat,
    /// So many services of three endpoints each in table nat, laid out as a service proxy of
    /// Kubernetes does: about 19 entries a service.
    Services,
}

/// Endpoints of each service.
const ENDPOINTS: u32 = 3;

/// Writes a ruleset; the same arguments give the same text.
pub fn generate(shape: Shape, count: u32, out: &mut dyn Write) -> io::Result<()> {
    match shape {
        Shape::Flat => flat(count, out),
        Shape::Services => services(count, out),
    }
}

fn flat(count: u32, out: &mut dyn Write) -> io::Result<()> {
    flat_in(Family::Ipv4, "filter", "", count, out)
}

/// The flat shape in any table of either family: in FORWARD, or in PREROUTING where the table has
/// no FORWARD. `first` is text that comes before its rules: lines of `-A`, or nothing.
pub fn flat_in(
    family: Family,
    table: &str,
    first: &str,
    count: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some((_, hooks)) = TABLES.iter().find(|(name, _)| *name == table) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("there is no table {table}"),
        ));
    };
    writeln!(out, "*{table}")?;
    let names = HOOK_NAMES.iter().enumerate();
    let chains: Vec<_> = names
        .filter(|(hook, _)| hooks & 1 << hook != 0)
        .map(|(_, name)| *name)
        .collect();
    for chain in &chains {
        writeln!(out, ":{chain} ACCEPT [0:0]")?;
    }
    out.write_all(first.as_bytes())?;
    let chain = if chains.contains(&"FORWARD") {
        "FORWARD"
    } else {
        "PREROUTING"
    };
    for index in 0..count {
        let [_, a, b, c] = index.to_be_bytes();
        let port = 1 + index % 65_535;
        match family {
            Family::Ipv4 => write!(out, "-A {chain} -s 10.{a}.{b}.{c}/32")?,
            Family::Ipv6 => write!(out, "-A {chain} -s fd00::{a:x}:{b:x}{c:02x}/128")?,
        }
        writeln!(out, " -p tcp -m tcp --dport {port} -j ACCEPT")?;
    }
    out.write_all(b"COMMIT\n")
}

fn services(count: u32, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(
        b"*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
          :POSTROUTING ACCEPT [0:0]\n:SERVICES - [0:0]\n:SVC-MARK - [0:0]\n:SVC-OUT - [0:0]\n",
    )?;
    for service in 0..count {
        writeln!(out, ":{} - [0:0]", service_chain(service))?;
        for endpoint in 0..ENDPOINTS {
            writeln!(out, ":{} - [0:0]", endpoint_chain(service, endpoint))?;
        }
    }
    out.write_all(
        b"-A PREROUTING -m comment --comment \"all services\" -j SERVICES\n\
          -A OUTPUT -m comment --comment \"all services\" -j SERVICES\n\
          -A POSTROUTING -j SVC-OUT\n\
          -A SVC-OUT -m mark ! --mark 0x4000/0x4000 -j RETURN\n\
          -A SVC-OUT -j MARK --set-xmark 0x4000/0x0\n\
          -A SVC-OUT -j MASQUERADE --random-fully\n\
          -A SVC-MARK -j MARK --set-xmark 0x4000/0x4000\n",
    )?;
    for service in 0..count {
        write_service(service, out)?;
    }
    out.write_all(b"COMMIT\n")
}

fn write_service(service: u32, out: &mut dyn Write) -> io::Result<()> {
    let chain = service_chain(service);
    let name = format!("team-{}/app-{service}:web", service % 50);
    let [_, high, b, c] = service.to_be_bytes();
    let address = format!("10.{}.{b}.{c}", 96 + u32::from(high));
    let to_service = format!(
        "-d {address}/32 -p tcp -m comment --comment \"{name} service address\" -m tcp --dport 80"
    );
    writeln!(out, "-A SERVICES {to_service} -j {chain}")?;
    writeln!(
        out,
        "-A {chain} ! -s 10.244.0.0/16 {to_service} -j SVC-MARK"
    )?;
    for endpoint in 0..ENDPOINTS {
        let to = endpoint_chain(service, endpoint);
        let [.., b, c] = (service * ENDPOINTS + endpoint).to_be_bytes();
        let address = format!("10.244.{b}.{c}");
        let left = ENDPOINTS - endpoint;
        write!(
            out,
            "-A {chain} -m comment --comment \"{name} -> {address}:8080\""
        )?;
        if left > 1 {
            let share = 1.0 / f64::from(left);
            write!(out, " -m statistic --mode random --probability {share:.11}")?;
        }
        writeln!(out, " -j {to}")?;
        let comment = format!("-m comment --comment \"{name}\"");
        writeln!(out, "-A {to} -s {address}/32 {comment} -j SVC-MARK")?;
        writeln!(
            out,
            "-A {to} -p tcp {comment} -m tcp -j DNAT --to-destination {address}:8080"
        )?;
    }
    Ok(())
}

/// Rules of the services shape that stand for all services.
pub const SERVICES_COMMON_RULES: u32 = 7;

/// Rules of each service.
pub const RULES_PER_SERVICE: u32 = 2 + 3 * ENDPOINTS;

fn service_chain(service: u32) -> String {
    format!("SVC-{}", tag(u64::from(service)))
}

fn endpoint_chain(service: u32, endpoint: u32) -> String {
    format!(
        "SEP-{}",
        tag(u64::from(service) << 8 | u64::from(endpoint) | 1 << 40)
    )
}

/// Sixteen letters that look random and are not: chain names have no order, as in the field.
fn tag(number: u64) -> String {
    // The finaliser of splitmix64: a bijection, so no two names are the same.
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("{:016X}", bits ^ bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::{RULES_PER_SERVICE, SERVICES_COMMON_RULES, Shape, generate};
    use crate::kernel::Family;
    use crate::ruleset::{Options, check, parse};

    fn rules(shape: Shape, count: u32) -> usize {
        let mut text = Vec::new();
        generate(shape, count, &mut text).unwrap();
        let options = Options::replacing(Family::Ipv4);
        let tables = parse(&text, options).unwrap();
        check(&tables[0]).unwrap();
        tables[0].rule_count()
    }

    #[test]
    fn the_flat_shape_fits_every_table_of_either_family() {
        for family in [Family::Ipv4, Family::Ipv6] {
            for (table, _) in crate::ruleset::TABLES {
                let mut text = Vec::new();
                super::flat_in(family, table, "", 70_000, &mut text).unwrap();
                let tables = parse(&text, Options::replacing(family)).unwrap();
                check(&tables[0]).unwrap();
                assert_eq!(tables[0].rule_count(), 70_000);
            }
        }
        let none = super::flat_in(Family::Ipv4, "filters", "", 1, &mut Vec::new());
        assert!(none.is_err());
    }

    #[test]
    fn what_is_generated_can_be_read() {
        assert_eq!(rules(Shape::Flat, 300), 300);
        let services = SERVICES_COMMON_RULES + 100 * RULES_PER_SERVICE;
        assert_eq!(rules(Shape::Services, 100), services as usize);
    }
}
