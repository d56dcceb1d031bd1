//! What of the table of attach points this kernel lets be attached.

use std::{thread, time::Duration};

use super::{
    attach::{self, absent},
    recording::{Point, Request, Tier},
    session::{ProbeError, Session},
    table::rows,
    tier::{self, Obstacles},
};

/// Every attach point and what became of it.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The tier that can be had.
    pub tier: Tier,
    /// Why this tier, in a sentence's words.
    pub reason: String,
    /// The points. [`PointState::Attached`](super::PointState::Attached) is one that was attached,
    /// or, if nothing was to be attached, one that was found.
    pub points: Vec<Point>,
    /// How long loading and attaching took, if that was done.
    pub attach_time: Option<Duration>,
}

/// Attaches everything and detaches it again, in the best tier that this kernel allows.
pub fn survey() -> Survey {
    match Session::survey() {
        Ok(session) if session.tier() == Tier::None => nothing(session.tier_reason().to_owned()),
        Ok(session) => {
            let survey = Survey {
                tier: session.tier(),
                reason: session.tier_reason().to_owned(),
                points: session.points().to_vec(),
                attach_time: Some(session.attach_time()),
            };
            // Waits until all is detached.
            drop(session.finish());
            survey
        }
        Err(ProbeError::Unavailable(unavailable)) => nothing(unavailable.reason),
        Err(error) => nothing(error.to_string()),
    }
}

/// Looks everything up, and loads and attaches nothing. Whether the kernel would let it be
/// attached is not known then.
pub fn look() -> Survey {
    let choice = match tier::choose(Request::Auto, &Obstacles::look()) {
        Ok(choice) if choice.tier != Tier::None => choice,
        Ok(choice) => return nothing(choice.reason),
        Err(unavailable) => return nothing(unavailable.reason),
    };
    let tier = choice.tier;
    // Where tracefs is not mounted, it is for this thread alone.
    let found = thread::spawn(move || attach::look(tier)).join();
    match found {
        Ok(Ok(points)) => Survey {
            tier,
            reason: choice.reason,
            points,
            attach_time: None,
        },
        Ok(Err(reason)) => nothing(reason),
        Err(_) => nothing("the look at this kernel failed; its message is above".to_owned()),
    }
}

fn nothing(reason: String) -> Survey {
    Survey {
        tier: Tier::None,
        points: rows().flat_map(|row| absent(row, &reason)).collect(),
        reason,
        attach_time: None,
    }
}
