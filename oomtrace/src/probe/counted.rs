//! What the probes count in maps of the kernel, for the daemon to fetch.

use aya::{
    Ebpf,
    maps::{HashMap, MapData, PerCpuArray},
};
use oomtrace_common::record::{ChargeCounts, lost};

use crate::event::LostFrom;

/// A map's value, in the form that aya takes it in.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Value<T>(T);

// SAFETY: `repr(C)` integers without padding.
unsafe impl aya::Pod for Value<ChargeCounts> {}

/// The probes' maps of counts.
pub(super) struct Counted {
    charges: HashMap<MapData, u64, Value<ChargeCounts>>,
    lost: PerCpuArray<MapData, u64>,
    /// What of `lost` has been told.
    told: [u64; lost::LEN as usize],
}

/// What has been counted by now.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// The cgroups that have hit their limits, by their ids.
    pub charges: Vec<(u64, ChargeCounts)>,
}

/// What nobody needs to count on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quiet {
    /// Cgroups that hit their limits no more.
    pub charges: Vec<u64>,
}

impl Counted {
    /// Takes the maps.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, String> {
        let mut map = |name: &str| ebpf.take_map(name).ok_or_else(|| format!("the map {name} is missing"));
        let (charges, lost) = (map("CHARGES")?, map("LOST")?);
        Ok(Self {
            charges: HashMap::try_from(charges).map_err(|error| error.to_string())?,
            lost: PerCpuArray::try_from(lost).map_err(|error| error.to_string())?,
            told: [0; lost::LEN as usize],
        })
    }

    /// Everything that is being counted.
    pub(super) fn counts(&self) -> Counts {
        // A key that cannot be read has been taken out meanwhile, which only this program does.
        let charges = self.charges.iter().filter_map(Result::ok).map(|(id, counts)| (id, counts.0)).collect();
        Counts { charges }
    }

    /// Takes out what is quiet.
    pub(super) fn forget(&mut self, quiet: &Quiet) {
        for id in &quiet.charges {
            // It can only fail where it is gone already.
            let _ = self.charges.remove(id);
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
        let told = &mut self.told[what as usize];
        let total = self.lost.get(&what, 0).map_or(*told, |cpus| cpus.iter().sum());
        let newly = total.saturating_sub(*told);
        *told = total;
        newly
    }
}
