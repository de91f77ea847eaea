#include "privacy/purposes.h"

#include <algorithm>
#include <cctype>

#include "plugin/config_schema.h"

namespace sonder {
namespace {

bool is_word(std::string_view s) {
  return !s.empty() && std::isalpha(static_cast<unsigned char>(s[0])) != 0 &&
         std::all_of(s.begin(), s.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
         });
}

}  // namespace

const std::vector<std::string>& dpv_purposes() {
  static const std::vector<std::string> names = {
      "AcademicResearch",
      "AccountManagement",
      "Advertising",
      "AgeVerification",
      "CombatClimateChange",
      "CommercialPurpose",
      "CommercialResearch",
      "CommunicationForCustomerCare",
      "CommunicationManagement",
      "CounterMoneyLaundering",
      "Counterterrorism",
      "CustomerCare",
      "CustomerClaimsManagement",
      "CustomerManagement",
      "CustomerOrderManagement",
      "CustomerRelationshipManagement",
      "CustomerSolvencyMonitoring",
      "DataAltruism",
      "DeliveryOfGoods",
      "DirectMarketing",
      "DisputeManagement",
      "EnforceAccessControl",
      "EnforceSecurity",
      "EstablishContractualAgreement",
      "FraudPreventionAndDetection",
      "FulfilmentOfContractualObligation",
      "FulfilmentOfObligation",
      "HumanResourceManagement",
      "IdentityAuthentication",
      "IdentityVerification",
      "ImproveExistingProductsAndServices",
      "ImproveHealthcare",
      "ImproveInternalCRMProcesses",
      "ImprovePublicServices",
      "ImproveTransportMobility",
      "IncreaseServiceRobustness",
      "InternalResourceOptimisation",
      "LegalCompliance",
      "MaintainFraudDatabase",
      "Marketing",
      "MemberPartnerManagement",
      "MisusePreventionAndDetection",
      "NonCommercialPurpose",
      "NonCommercialResearch",
      "OptimisationForConsumer",
      "OptimisationForController",
      "OptimiseUserInterface",
      "OrganisationComplianceManagement",
      "OrganisationGovernance",
      "OrganisationRiskManagement",
      "PaymentManagement",
      "Personalisation",
      "PersonalisedAdvertising",
      "PersonalisedBenefits",
      "PersonnelBehaviourMonitoring",
      "PersonnelHiring",
      "PersonnelManagement",
      "PersonnelMonitoring",
      "PersonnelOffboarding",
      "PersonnelOnboarding",
      "PersonnelPayment",
      "PersonnelPerformanceEvaluation",
      "PersonnelPerformanceManagement",
      "PersonnelPerformanceMonitoring",
      "PersonnelPerformancePrediction",
      "PersonnelPromotionManagement",
      "PersonnelTerminationManagement",
      "PersonnelWorkloadManagement",
      "PoliticalCampaign",
      "ProtectionOfIPR",
      "ProtectionOfNationalSecurity",
      "ProtectionOfPublicSecurity",
      "ProvideEventRecommendations",
      "ProvideOfficialStatistics",
      "ProvidePersonalisedRecommendations",
      "ProvideProductRecommendations",
      "PublicBenefit",
      "PublicPolicyMaking",
      "PublicRelations",
      "RecordManagement",
      "RecruitmentAdvertising",
      "RecruitmentApplicantBackgroundCheck",
      "RecruitmentApplicantCriminalBackgroundCheck",
      "RecruitmentApplicantInformationAuthentication",
      "RecruitmentApplicantSelection",
      "RecruitmentApplicationAnalysis",
      "RecruitmentApplicationManagement",
      "RecruitmentApplicationScreening",
      "RecruitmentInterviewAnalysis",
      "RecruitmentInterviewAssessment",
      "RecruitmentInterviewManagement",
      "RecruitmentInterviewScheduling",
      "RecruitmentManagement",
      "RecruitmentTargetedAdvertising",
      "RepairImpairments",
      "RequestedServiceProvision",
      "ResearchAndDevelopment",
      "RightsFulfilment",
      "ScientificResearch",
      "SearchFunctionalities",
      "SellDataToThirdParties",
      "SellInsightsFromData",
      "SellProducts",
      "SellProductsToDataSubject",
      "ServiceOptimisation",
      "ServicePersonalisation",
      "ServiceProvision",
      "ServiceRegistration",
      "ServiceUsageAnalytics",
      "SocialMediaMarketing",
      "TargetedAdvertising",
      "TechnicalServiceProvision",
      "UserInterfacePersonalisation",
      "VendorManagement",
      "VendorPayment",
      "VendorRecordsManagement",
      "VendorSelectionAssessment",
      "Verification",
  };
  return names;
}

status check_purpose(std::string_view purpose) {
  const auto& known = dpv_purposes();
  if (std::binary_search(known.begin(), known.end(), purpose)) return {};
  const auto colon = purpose.find(':');
  if (colon != std::string_view::npos && is_word(purpose.substr(0, colon)) &&
      is_word(purpose.substr(colon + 1))) {
    return {};
  }
  auto message = "purpose \"" + std::string(purpose) + "\" is not in DPV";
  const auto near = did_you_mean(purpose, known);
  message += near.empty() ? R"(; give one of your own a prefix, such as "acme:Coaching")" : near;
  return fail(errc::invalid, std::move(message));
}

}  // namespace sonder
