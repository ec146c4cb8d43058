//! What a rule is made of: loads into registers, comparisons, and what is done then (`linux/netfilter/nf_tables.h`).

use crate::batch::Attributes;

/// A register of four bytes, by its number from 0 on. Values of more bytes take the next ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Register(pub(crate) u32);

impl Register {
    /// NFT_REG32_00 and the others.
    fn number(self) -> u32 {
        8 + self.0
    }
}

/// Where a packet goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// On to the next chain of another priority.
    Accept,
    Drop,
    /// To a chain, and back at its end.
    Jump(String),
    /// To a chain, and not back.
    Goto(String),
}

impl Verdict {
    pub(crate) fn write(&self, data: &mut Attributes<'_>) {
        data.nested(2, |verdict| {
            match self {
                // NF_ACCEPT
                Self::Accept => verdict.number(1, 1),
                // NF_DROP
                Self::Drop => verdict.number(1, 0),
                // NFT_JUMP
                Self::Jump(chain) => verdict.number(1, (-3i32).cast_unsigned()).text(2, chain),
                // NFT_GOTO
                Self::Goto(chain) => verdict.number(1, (-4i32).cast_unsigned()).text(2, chain),
            };
        });
    }
}

/// A property of the packet that is no part of it (`enum nft_meta_keys`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Meta {
    InputName = 6,
    OutputName = 7,
    Protocol = 16,
    /// The group of interfaces that the one is of by which it came.
    InputGroup = 21,
}

/// A part of the packet: the header, the first byte in it, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    header: u32,
    offset: u32,
    length: u32,
}

impl Part {
    pub(crate) const HARDWARE_DESTINATION: Self = Self { header: 0, offset: 0, length: 6 };
    /// What a frame has in it.
    pub(crate) const CONTENT: Self = Self { header: 0, offset: 12, length: 2 };
    pub(crate) const SOURCE: Self = Self { header: 1, offset: 12, length: 4 };
    pub(crate) const DESTINATION: Self = Self { header: 1, offset: 16, length: 4 };
    pub(crate) const DESTINATION_PORT: Self = Self { header: 2, offset: 2, length: 2 };
    pub(crate) const ICMP_TYPE: Self = Self { header: 2, offset: 0, length: 1 };
}

/// One of a rule's steps. One that does not hold ends the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    Load(Part, Register),
    LoadMeta(Meta, Register),
    /// One bit: whether the packet begins a connection, belongs to one, or is about one (`NF_CT_STATE_BIT`).
    LoadState(Register),
    /// Bits of the connection's state (`enum ip_conntrack_status`).
    LoadStatus(Register),
    /// The kind of route to the packet's source or destination (RTN_LOCAL and the others).
    LoadRouteKind {
        of_source: bool,
        to: Register,
    },
    /// A number below this one, by chance.
    LoadChance {
        below: u32,
        to: Register,
    },
    LoadValue(Vec<u8>, Register),
    Mask {
        at: Register,
        mask: Vec<u8>,
    },
    Compare {
        at: Register,
        equal: bool,
        with: Vec<u8>,
    },
    /// What is in the register is neither below the first nor above the last.
    Between {
        at: Register,
        first: Vec<u8>,
        last: Vec<u8>,
    },
    /// What is in the registers is an element. A map's element is then obeyed, or put into registers.
    Lookup {
        set: String,
        number: Option<u32>,
        key: Register,
        to: Option<Found>,
    },
    /// Makes what is in the registers an element of a set, or lets it last anew.
    Remember {
        set: String,
        key: Register,
        timeout: u64,
    },
    Verdict(Verdict),
    /// To the address and the port in these registers.
    Translate {
        address: Register,
        port: Register,
    },
    /// In the name of the machine itself.
    Masquerade,
    /// Tells the one who sent it that the port is unreachable.
    Reject,
}

/// Where what a map's element leads to goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Verdict,
    Register(Register),
}

impl Expression {
    fn name(&self) -> &'static str {
        match self {
            Self::Load(..) => "payload",
            Self::LoadMeta(..) => "meta",
            Self::LoadState(_) | Self::LoadStatus(_) => "ct",
            Self::LoadRouteKind { .. } => "fib",
            Self::LoadChance { .. } => "numgen",
            Self::LoadValue(..) | Self::Verdict(_) => "immediate",
            Self::Mask { .. } => "bitwise",
            Self::Compare { .. } => "cmp",
            Self::Between { .. } => "range",
            Self::Lookup { .. } => "lookup",
            Self::Remember { .. } => "dynset",
            Self::Translate { .. } => "nat",
            Self::Masquerade => "masq",
            Self::Reject => "reject",
        }
    }

    pub(crate) fn write(&self, expression: &mut Attributes<'_>) {
        expression.text(1, self.name());
        expression.nested(2, |data| self.write_data(data));
    }

    fn write_data(&self, data: &mut Attributes<'_>) {
        match self {
            Self::Load(part, to) => {
                data.number(1, to.number()).number(2, part.header);
                data.number(3, part.offset).number(4, part.length);
            }
            Self::LoadMeta(meta, to) => {
                data.number(1, to.number()).number(2, *meta as u32);
            }
            Self::LoadState(to) => {
                // NFT_CT_STATE
                data.number(1, to.number()).number(2, 0);
            }
            Self::LoadStatus(to) => {
                // NFT_CT_STATUS
                data.number(1, to.number()).number(2, 2);
            }
            Self::LoadRouteKind { of_source, to } => {
                // NFT_FIB_RESULT_ADDRTYPE; NFTA_FIB_F_SADDR or NFTA_FIB_F_DADDR
                let flags = if *of_source { 1 } else { 2 };
                data.number(1, to.number()).number(2, 3).number(3, flags);
            }
            Self::LoadChance { below, to } => {
                // NFT_NG_RANDOM
                data.number(1, to.number()).number(2, *below).number(3, 1);
            }
            Self::LoadValue(value, to) => {
                data.number(1, to.number());
                data.value(2, value);
            }
            Self::Verdict(verdict) => {
                // NFT_REG_VERDICT
                data.number(1, 0).nested(2, |inner| verdict.write(inner));
            }
            Self::Mask { at, mask } => {
                data.number(1, at.number()).number(2, at.number());
                data.number(3, u32::try_from(mask.len()).unwrap_or(0));
                data.value(4, mask);
                data.value(5, &vec![0; mask.len()]);
            }
            Self::Compare { at, equal, with } => {
                data.number(1, at.number()).number(2, u32::from(!*equal));
                data.value(3, with);
            }
            Self::Between { at, first, last } => {
                // NFT_RANGE_EQ
                data.number(1, at.number()).number(2, 0);
                data.value(3, first).value(4, last);
            }
            Self::Lookup { set, number, key, to } => {
                data.text(1, set).number(2, key.number());
                if let Some(found) = to {
                    // NFT_REG_VERDICT or another
                    data.number(3, if let Found::Register(to) = found { to.number() } else { 0 });
                }
                if let Some(number) = number {
                    data.number(4, *number);
                }
            }
            Self::Remember { set, key, timeout } => {
                // NFT_DYNSET_OP_UPDATE
                data.text(1, set).number(3, 1).number(4, key.number()).long(6, *timeout);
            }
            Self::Translate { address, port } => {
                // NFT_NAT_DNAT for NFPROTO_IPV4
                data.number(1, 1).number(2, 2);
                data.number(3, address.number()).number(4, address.number());
                data.number(5, port.number()).number(6, port.number());
            }
            Self::Masquerade => {}
            Self::Reject => {
                // NFT_REJECT_ICMP_UNREACH; ICMP_PORT_UNREACH (RFC 792)
                data.number(1, 0).bytes(2, &[3]);
            }
        }
    }
}
