"""The currencies that money can be in, and the decimals of each: ISO 4217 as of 2026-01-01.

Codes of funds (CLF, USN), of units of account (XDR, XAD), of metals and for tests are no currencies
that people pay in.
"""

from collections.abc import Mapping

WITHOUT_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
WITH_TWO = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF "
    "CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD "
    "HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA "
    "MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN "
    "QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP "
    "TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)
WITH_THREE = "BHD IQD JOD KWD LYD OMR TND"

# How many decimals an amount in major units has, by the code of the currency.
DECIMALS: Mapping[str, int] = {
    code: decimals
    for decimals, codes in ((0, WITHOUT_DECIMALS), (2, WITH_TWO), (3, WITH_THREE))
    for code in codes.split()
}
