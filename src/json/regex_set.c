/* json/regex_set.c - sets of characters: the classes of ECMA-262, Unicode's general categories by
 * name, and whether a character is in. Sources: ECMA-262 "CharacterClassEscape" and "WhiteSpace";
 * names from PropertyValueAliases.txt. */
#include "json/regex_priv.h"

/* --- categories ------------------------------------------------------------------------------- */

#define BIT(c)       (UINT32_C(1) << (c))
#define BITS(lo, hi) ((BIT((hi) + 1) - 1) & ~(BIT(lo) - 1))

static const struct {
    const char *name, *longer;
    uint32_t mask;
} properties[] = {
    {"L", "Letter", BITS(RE_LU, RE_LO)},
    {"LC", "Cased_Letter", BITS(RE_LU, RE_LT)},
    {"Lu", "Uppercase_Letter", BIT(RE_LU)},
    {"Ll", "Lowercase_Letter", BIT(RE_LL)},
    {"Lt", "Titlecase_Letter", BIT(RE_LT)},
    {"Lm", "Modifier_Letter", BIT(RE_LM)},
    {"Lo", "Other_Letter", BIT(RE_LO)},
    {"M", "Mark", BITS(RE_MN, RE_ME)},
    {"M", "Combining_Mark", BITS(RE_MN, RE_ME)},
    {"Mn", "Nonspacing_Mark", BIT(RE_MN)},
    {"Mc", "Spacing_Mark", BIT(RE_MC)},
    {"Me", "Enclosing_Mark", BIT(RE_ME)},
    {"N", "Number", BITS(RE_ND, RE_NO)},
    {"Nd", "Decimal_Number", BIT(RE_ND)},
    {"Nd", "digit", BIT(RE_ND)},
    {"Nl", "Letter_Number", BIT(RE_NL)},
    {"No", "Other_Number", BIT(RE_NO)},
    {"P", "Punctuation", BITS(RE_PC, RE_PO)},
    {"P", "punct", BITS(RE_PC, RE_PO)},
    {"Pc", "Connector_Punctuation", BIT(RE_PC)},
    {"Pd", "Dash_Punctuation", BIT(RE_PD)},
    {"Ps", "Open_Punctuation", BIT(RE_PS)},
    {"Pe", "Close_Punctuation", BIT(RE_PE)},
    {"Pi", "Initial_Punctuation", BIT(RE_PI)},
    {"Pf", "Final_Punctuation", BIT(RE_PF)},
    {"Po", "Other_Punctuation", BIT(RE_PO)},
    {"S", "Symbol", BITS(RE_SM, RE_SO)},
    {"Sm", "Math_Symbol", BIT(RE_SM)},
    {"Sc", "Currency_Symbol", BIT(RE_SC)},
    {"Sk", "Modifier_Symbol", BIT(RE_SK)},
    {"So", "Other_Symbol", BIT(RE_SO)},
    {"Z", "Separator", BITS(RE_ZS, RE_ZP)},
    {"Zs", "Space_Separator", BIT(RE_ZS)},
    {"Zl", "Line_Separator", BIT(RE_ZL)},
    {"Zp", "Paragraph_Separator", BIT(RE_ZP)},
    {"C", "Other", BITS(RE_CC, RE_CN)},
    {"Cc", "Control", BIT(RE_CC)},
    {"Cc", "cntrl", BIT(RE_CC)},
    {"Cf", "Format", BIT(RE_CF)},
    {"Cs", "Surrogate", BIT(RE_CS)},
    {"Co", "Private_Use", BIT(RE_CO)},
    {"Cn", "Unassigned", BIT(RE_CN)},
    {"Any", "Any", RE_ALL_CATEGORIES},
    {"Assigned", "Assigned", RE_ALL_CATEGORIES & ~BIT(RE_CN)},
};

bool re_property(struct span name, uint32_t *out_mask)
{
    static const char *const prefixes[] = {"General_Category=", "gc="};
    for (size_t i = 0; i < COUNT_OF(prefixes); i++)
        if (span_starts(name, span_of(prefixes[i]))) {
            name = span_from(name, strlen(prefixes[i]));
            break;
        }
    for (size_t i = 0; i < COUNT_OF(properties); i++)
        if (span_eq(name, span_of(properties[i].name)) ||
            span_eq(name, span_of(properties[i].longer))) {
            *out_mask = properties[i].mask;
            return true;
        }
    return false;
}

/* The last run that begins at or before c. */
static uint32_t category_of(uint32_t c)
{
    size_t lo = 0, hi = re_n_category_runs;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (re_category_runs[mid] >> 5 <= c)
            lo = mid;
        else
            hi = mid;
    }
    uint32_t category = re_category_runs[lo] & 31, first = re_category_runs[lo] >> 5;
    if (category < RE_UPPER_FIRST)
        return category;
    bool upper = ((c - first) % 2 == 0) == (category == RE_UPPER_FIRST);
    return upper ? RE_LU : RE_LL;
}

/* --- classes ---------------------------------------------------------------------------------- */

static const struct re_range digits[] = {{'0', '9'}};
static const struct re_range no_digits[] = {{0, '0' - 1}, {'9' + 1, RE_LAST_CHAR}};
static const struct re_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct re_range no_words[] = {{0, '0' - 1},
                                           {'9' + 1, 'A' - 1},
                                           {'Z' + 1, '_' - 1},
                                           {'_' + 1, 'a' - 1},
                                           {'z' + 1, RE_LAST_CHAR}};
static const struct re_range spaces[] = {
    {0x09, 0x0D},     {0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
    {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
static const struct re_range no_spaces[] = {
    {0, 0x08},        {0x0E, 0x1F},     {0x21, 0x9F},          {0xA1, 0x167F},
    {0x1681, 0x1FFF}, {0x200B, 0x2027}, {0x202A, 0x202E},      {0x2030, 0x205E},
    {0x2060, 0x2FFF}, {0x3001, 0xFEFE}, {0xFF00, RE_LAST_CHAR}};
/* Line ends are LF, CR, U+2028 and U+2029. */
static const struct re_range dot[] = {
    {0, 0x09}, {0x0B, 0x0C}, {0x0E, 0x2027}, {0x202A, RE_LAST_CHAR}};

struct span_ranges re_class(char kind)
{
    switch (kind) {
    case 'd':
        return (struct span_ranges){digits, COUNT_OF(digits)};
    case 'D':
        return (struct span_ranges){no_digits, COUNT_OF(no_digits)};
    case 'w':
        return (struct span_ranges){words, COUNT_OF(words)};
    case 'W':
        return (struct span_ranges){no_words, COUNT_OF(no_words)};
    case 's':
        return (struct span_ranges){spaces, COUNT_OF(spaces)};
    case 'S':
        return (struct span_ranges){no_spaces, COUNT_OF(no_spaces)};
    case '.':
        return (struct span_ranges){dot, COUNT_OF(dot)};
    default: /* no class: a character, not an enum of ours */
        return (struct span_ranges){NULL, 0};
    }
}

bool re_is_word(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

/* --- is it in? -------------------------------------------------------------------------------- */

static bool search(const struct re_set *s, uint32_t c)
{
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c < s->ranges[mid].lo)
            hi = mid;
        else if (c > s->ranges[mid].hi)
            lo = mid + 1;
        else
            return !s->negated;
    }
    bool in = s->categories != 0 && (s->categories & BIT(category_of(c))) != 0;
    return in != s->negated;
}

void re_set_ready(struct re_set *s)
{
    for (uint32_t c = 0; c < 128; c++)
        if (search(s, c))
            s->ascii[c / 64] |= UINT64_C(1) << (c % 64);
}

bool re_set_has(const struct re_set *s, uint32_t c)
{
    return c < 128 ? (s->ascii[c / 64] >> (c % 64) & 1) != 0 : search(s, c);
}
