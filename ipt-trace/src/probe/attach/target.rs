//! What the table's functions are called on the running kernel.

use std::path::Path;

use crate::probe::{
    recording::{Point, PointState},
    symbols::{SymbolError, Symbols},
    table::{AttachPoint, Function},
};

/// How a function is named to the kernel: `module:name`, or `name` for the kernel proper.
pub fn find(
    symbols: Option<&Result<Symbols, SymbolError>>,
    function: Function,
) -> Result<String, PointState> {
    let qualified = |module: Option<&str>, name: &str| {
        module.map_or_else(|| name.to_owned(), |module| format!("{module}:{name}"))
    };
    let Some(Ok(symbols)) = symbols else {
        // Where symbols cannot be read, the kernel may still know the name.
        return match (function.module, function.names) {
            (Some(module), _) if !Path::new("/sys/module").join(module).exists() => {
                Err(not_loaded(module))
            }
            (module, names) => Ok(qualified(module, names[names.len() - 1])),
        };
    };
    // What is usually a module may be built in.
    for module in [function.module, None] {
        for name in function.names {
            match symbols.find(module, name)[..] {
                [] => {}
                [symbol] => return Ok(qualified(module, symbol.name)),
                [..] => {
                    return Err(PointState::Failed(format!(
                        "the kernel has several functions named {name}, and a probe cannot tell them apart"
                    )));
                }
            }
        }
    }
    Err(match function.module {
        Some(module) if !symbols.has_module(module) => not_loaded(module),
        _ => PointState::Absent("this kernel has no such function, or inlined it".to_owned()),
    })
}

/// Whether a point is that of a row on a function.
pub fn is_on(point: &Point, row: &AttachPoint, kind: &str, function: Function) -> bool {
    let place = point.name.strip_prefix(kind);
    let name = place
        .and_then(|place| place.strip_prefix(':'))
        .and_then(|place| match place.split_once(':') {
            Some((module, name)) => (function.module == Some(module)).then_some(name),
            // What is usually a module is built in.
            None => Some(place),
        });
    point.gives == row.gives
        && name.is_some_and(|name| function.names.iter().any(|known| name.starts_with(known)))
}

/// Whether a function's module is loaded, or it needs none.
pub fn is_there(symbols: Option<&Result<Symbols, SymbolError>>, function: Function) -> bool {
    let missing = function.module.map(not_loaded);
    missing.is_none() || find(symbols, function).err() != missing
}

pub fn not_loaded(module: &str) -> PointState {
    PointState::Absent(format!("the module {module} is not loaded"))
}

/// The points of a row, none of them attached for this reason.
pub fn absent(row: &'static AttachPoint, reason: &str) -> impl Iterator<Item = Point> {
    let names = row.place.names().into_iter();
    names.map(move |name| Point {
        name,
        gives: row.gives,
        state: PointState::Absent(reason.to_owned()),
    })
}
