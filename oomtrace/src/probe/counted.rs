//! What the probes count in maps of the kernel, for the daemon to fetch.

use aya::{
    Ebpf,
    maps::{HashMap, MapData, PerCpuArray},
};
use oomtrace_common::record::{ChargeCounts, RefusalCounts, RefusalKey, lost, refused_by};

use super::commit;
use crate::event::LostFrom;

/// A map's key or value, in the form that aya takes it in.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Value<T>(pub(super) T);

// SAFETY: `repr(C)` integers without padding.
unsafe impl aya::Pod for Value<ChargeCounts> {}
// SAFETY: as above.
unsafe impl aya::Pod for Value<RefusalCounts> {}
// SAFETY: as above.
unsafe impl aya::Pod for Value<RefusalKey> {}

/// The probes' maps of counts.
pub(super) struct Counted {
    charges: HashMap<MapData, u64, Value<ChargeCounts>>,
    refusals: HashMap<MapData, Value<RefusalKey>, Value<RefusalCounts>>,
    /// How often the kernel asks before it refuses what is beyond a limit of the process.
    rlimit_askings: u64,
    lost: PerCpuArray<MapData, u64>,
    /// What of `lost` has been reported.
    reported: [u64; lost::LEN as usize],
}

/// What has been counted by now.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// The cgroups that have hit their limits, by their ids.
    pub charges: Vec<(u64, ChargeCounts)>,
    /// The processes whose allocations were refused, and by what.
    pub refusals: Vec<(RefusalKey, RefusalCounts)>,
    /// What overcommit accounting grants to all processes together, bytes; read only where there are refusals.
    pub commit_limit_bytes: Option<u64>,
}

/// What nobody needs to count on.
#[derive(Clone, Debug, Default)]
pub struct Quiet {
    /// Cgroups that hit their limits no more.
    pub charges: Vec<u64>,
    /// Processes that are refused nothing any more, by what they were.
    pub refusals: Vec<RefusalKey>,
}

impl Counted {
    /// Takes the maps.
    pub(super) fn take(ebpf: &mut Ebpf, rlimit_askings: u64) -> Result<Self, String> {
        let mut map = |name: &str| ebpf.take_map(name).ok_or_else(|| format!("the map {name} is missing"));
        let (charges, refusals, lost) = (map("CHARGES")?, map("REFUSALS")?, map("LOST")?);
        Ok(Self {
            charges: HashMap::try_from(charges).map_err(|error| error.to_string())?,
            refusals: HashMap::try_from(refusals).map_err(|error| error.to_string())?,
            rlimit_askings: rlimit_askings.max(1),
            lost: PerCpuArray::try_from(lost).map_err(|error| error.to_string())?,
            reported: [0; lost::LEN as usize],
        })
    }

    /// Everything that is being counted.
    pub(super) fn counts(&self) -> Counts {
        // A key that cannot be read has been taken out meanwhile, which only this program does.
        let charges = self.charges.iter().filter_map(Result::ok).map(|(id, counts)| (id, counts.0)).collect();
        let refusals = self.refusals.iter().filter_map(Result::ok);
        let refusals: Vec<_> = refusals.map(|(key, counts)| (key.0, self.in_refusals(key.0, counts.0))).collect();
        let commit_limit_bytes = if refusals.is_empty() { None } else { commit::limit_bytes() };
        Counts { charges, refusals, commit_limit_bytes }
    }

    /// Askings into refusals. A stack or a heap that may not grow is asked for once only, hence upwards.
    fn in_refusals(&self, key: RefusalKey, counts: RefusalCounts) -> RefusalCounts {
        let askings = if key.by == refused_by::OVERCOMMIT { 1 } else { self.rlimit_askings };
        RefusalCounts { count: counts.count.div_ceil(askings), ..counts }
    }

    /// Takes out what is quiet.
    pub(super) fn forget(&mut self, quiet: &Quiet) {
        for id in &quiet.charges {
            // It can only fail where it is gone already.
            let _ = self.charges.remove(id);
        }
        for key in &quiet.refusals {
            let _ = self.refusals.remove(&Value(*key));
        }
    }

    /// How much has been lost there since this was last asked.
    pub(super) fn newly_lost(&mut self, from: LostFrom) -> u64 {
        match from {
            LostFrom::Ring => self.newly(lost::RING),
            LostFrom::Map => self.newly(lost::MAP),
            _ => 0,
        }
    }

    fn newly(&mut self, what: u32) -> u64 {
        let total = self.total(what);
        let reported = &mut self.reported[what as usize];
        let newly = total.saturating_sub(*reported);
        *reported += newly;
        newly
    }

    /// How many signals were over the budgets of their targets' cgroups.
    pub(super) fn untold_signals(&self) -> u64 {
        self.total(lost::SIGNALS)
    }

    fn total(&self, what: u32) -> u64 {
        self.lost.get(&what, 0).map_or(0, |cpus| cpus.iter().sum())
    }
}
