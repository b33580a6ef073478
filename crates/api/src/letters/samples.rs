//! One of every letter, to look at.

use shared::{
    id::Id,
    model::{
        CancelledBy, CartLine, Case, CaseMessage, CaseReason, CaseSide, CaseState, Dispute, DisputeShare,
        DisputeState, Listing, Order, OrderUser, Payment, PaymentInfo, Refund, RefundItem, RefundState,
        Status, Withdrawal, WithdrawalSeller,
    },
    money::Money,
};

use super::{Cancelled, Fate, Letter, Role};

const FRONTEND: &str = "https://shop.example";

/// Every letter that Souk writes, by name, about something made up.
pub fn samples() -> Vec<(&'static str, Letter)> {
    let order = order();
    let (asked, granted, refused) =
        (refund(RefundState::Asked), refund(RefundState::Granted), refund(RefundState::Refused));
    let withdrawal = withdrawal();
    let rejected = Withdrawal { reason: Some("There is no such account.".to_owned()), ..withdrawal.clone() };
    let listing = Listing { id: id(7), name: "Walnut bowl".to_owned(), reserved: 2, ..Listing::default() };
    let (dispute, share) = dispute(DisputeState::Open);
    let (lost, won) = (dispute_in(DisputeState::Lost), dispute_in(DisputeState::Won));
    let cancelled = |by, role| super::cancelled(&order, Cancelled { by, is_returned: true }, role, FRONTEND);
    vec![
        (
            "activation",
            super::activation("Activate your account", format!("{FRONTEND}/activation/token"), "30 minutes"),
        ),
        ("new-password", super::new_password(format!("{FRONTEND}/reset-password/token"), "30 minutes")),
        ("order-placed", super::placed(std::slice::from_ref(&order), "USD", FRONTEND)),
        ("order-sold", super::sold(&order, "USD", FRONTEND)),
        ("order-moved", super::moved(&order, Status::Shipping, FRONTEND)),
        ("order-delivered", super::moved(&order, Status::Delivered, FRONTEND)),
        ("order-cancelled-buyer", cancelled(CancelledBy::Shop, Role::Buyer)),
        ("order-cancelled-shop", cancelled(CancelledBy::Buyer, Role::Shop)),
        ("order-expired", super::expired(&order)),
        ("refund-asked", super::refund_asked(&order, &asked, "USD", FRONTEND)),
        ("refund-granted", super::refund_decided(&order, &granted, "USD", FRONTEND)),
        ("refund-refused", super::refund_decided(&order, &refused, "USD", FRONTEND)),
        ("withdrawal-asked", super::withdrawal_asked(&withdrawal, "USD")),
        ("withdrawal-paid", super::withdrawal_decided(&withdrawal, Fate::Paid, "USD")),
        (
            "withdrawal-rejected",
            super::withdrawal_decided(&rejected, Fate::Rejected(withdrawal.amount), "USD"),
        ),
        ("stock-low", super::low_stock(&listing, 3, FRONTEND)),
        ("sold-out", super::low_stock(&listing, 0, FRONTEND)),
        ("webhook-disabled", super::webhook_disabled("https://shop.example/souk", "Orders more lamps")),
        ("bank-dispute-opened", super::dispute_opened(&dispute, &share)),
        ("bank-dispute-lost", super::dispute_closed(&lost, &share)),
        ("bank-dispute-won", super::dispute_closed(&won, &share)),
        ("payment-unused", super::unused(&payment())),
        ("dispute-opened", super::case_opened(&case(CaseState::Open), CaseSide::Seller, "USD")),
        ("dispute-message", super::case_message(&case(CaseState::Open), &said(), "USD")),
        ("dispute-refunded", super::case_closed(&case(CaseState::Refunded), CaseSide::Buyer, "USD")),
        ("dispute-released", super::case_closed(&case(CaseState::Released), CaseSide::Seller, "USD")),
        ("dispute-accepted", super::case_closed(&case(CaseState::Accepted), CaseSide::Buyer, "USD")),
        ("dispute-withdrawn", super::case_closed(&case(CaseState::Withdrawn), CaseSide::Seller, "USD")),
    ]
}

/// An id that looks like one.
fn id<T>(number: u8) -> Id<T> {
    format!("6745f0a2c3b1d4e5f60718{number:02x}").parse().unwrap_or_default()
}

fn order() -> Order {
    let line = |number, name: &str, minor, count| CartLine {
        id: id(number),
        name: name.to_owned(),
        price: Money::from_minor(minor),
        count,
        ..CartLine::default()
    };
    Order {
        id: id(1),
        cart: vec![line(2, "Walnut bowl", 2_450, 2), line(3, "Linen napkins & ring", 1_200, 1)],
        user: Some(OrderUser { id: id(4), name: "Ann Miller".to_owned(), phone_number: None }),
        total: Money::from_minor(6_710),
        payment: Some(PaymentInfo {
            id: Some("pi_3Q1example".to_owned()),
            status: Some(PaymentInfo::SUCCEEDED.to_owned()),
            kind: Some("Credit Card".to_owned()),
        }),
        shop_id: id(5),
        ..Order::default()
    }
}

fn refund(state: RefundState) -> Refund {
    Refund {
        items: vec![RefundItem { id: id(2), count: 1 }],
        amount: Money::from_minor(2_695),
        reason: Some("One of the bowls came with a crack.".to_owned()),
        state,
        ..Refund::default()
    }
}

fn withdrawal() -> Withdrawal {
    Withdrawal {
        id: id(6),
        seller: WithdrawalSeller { id: id(5), name: "Bob's Bowls".to_owned(), method: None },
        amount: Money::from_minor(15_000),
        ..Withdrawal::default()
    }
}

fn said() -> CaseMessage {
    CaseMessage {
        id: id(8),
        from: CaseSide::Buyer,
        text: "The parcel never came, and the carrier says that it was lost.".to_owned(),
        images: Vec::new(),
        at: id::<Order>(1).made_at(),
    }
}

fn case(state: CaseState) -> Case {
    let at = id::<Order>(1).made_at();
    let back = matches!(state, CaseState::Refunded | CaseState::Accepted);
    Case {
        id: id(9),
        order: id(1),
        buyer: id(4),
        shop: id(5),
        opened_by: CaseSide::Buyer,
        reason: CaseReason::NotReceived,
        wanted: 6_710,
        state,
        held: Some(6_039),
        returned: if back { 6_710 } else { 0 },
        messages: vec![said()],
        created_at: at,
        updated_at: at,
        closed_at: None,
        decided_by: None,
        note: Some("The carrier confirms that it was lost.".to_owned())
            .filter(|_| state == CaseState::Refunded),
    }
}

fn payment() -> Payment {
    Payment::new(
        "pi_3Q1example".to_owned(),
        "stripe".to_owned(),
        Money::from_minor(6_710),
        id::<Order>(1).made_at(),
    )
}

fn dispute(state: DisputeState) -> (Dispute, DisputeShare) {
    let share = DisputeShare { order: id(1), shop: id(5), minor: 6_710, fee_minor: 671 };
    (dispute_in(state), share)
}

fn dispute_in(state: DisputeState) -> Dispute {
    Dispute {
        id: "dp_1Qexample".to_owned(),
        gateway: "stripe".to_owned(),
        payment: "pi_3Q1example".to_owned(),
        minor: 6_710,
        reason: "product_not_received".to_owned(),
        state,
        shares: Vec::new(),
        opened_at: id::<Order>(1).made_at(),
        closed_at: None,
    }
}
