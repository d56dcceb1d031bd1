//! What ipt-trace will take, found out without starting it: whole rows of such rules can be
//! compared at once, and of all others it need only be seen that iptables-legacy refuses them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ipt_trace::kernel::abi::HOOKS;
use ipt_trace::kernel::{Family, Tables};
use ipt_trace::ruleset::{self, Options, assemble};

use crate::pair::File;

/// The library, with the tables of the thread's own network namespace.
pub struct Scout {
    kernel: Tables,
    last: Option<String>,
}

impl Scout {
    /// Looks at the tables of this thread's network namespace, and changes them.
    pub fn new(family: Family) -> Self {
        Self {
            kernel: Tables::open(family).expect("a raw socket"),
            last: None,
        }
    }

    /// Whether a file is taken. It is if the library panics, so that the program is asked then.
    pub fn takes(&mut self, file: &File) -> bool {
        // As the programs themselves are made to begin: with nothing in other tables.
        if let Some(other) = self.last.take_if(|last| *last != file.table) {
            self.restore(&File::flushing(&other, &[]));
        }
        let takes = catch_unwind(AssertUnwindSafe(|| self.restore(file))).unwrap_or(true);
        self.last = Some(file.table.clone());
        takes
    }

    fn restore(&self, file: &File) -> bool {
        let options = Options {
            kernel: Some(&self.kernel),
            ..Options::replacing(self.kernel.family())
        };
        let Ok(tables) = ruleset::parse(file.text.as_bytes(), options) else {
            return false;
        };
        tables.into_iter().all(|table| {
            let name = table.name.clone();
            let info = self.kernel.info(&name);
            ruleset::check(&table).is_ok()
                && info
                    .ok()
                    .and_then(|info| assemble(table, &info, &[None; HOOKS]).ok())
                    .is_some_and(|mut blob| self.kernel.replace(&name, &mut blob.message).is_ok())
        })
    }
}
