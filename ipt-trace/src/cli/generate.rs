//! `ipt-trace generate`.

use std::io::{self, BufWriter, Write as _};

use super::args::{Generate, Shape};
use super::exit::Failure;
use crate::generate;

pub fn run(command: Generate) -> Result<(), Failure> {
    let shape = match command.shape {
        Shape::Flat => generate::Shape::Flat,
        Shape::Services => generate::Shape::Services,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    generate::generate(shape, command.count, &mut out)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}
